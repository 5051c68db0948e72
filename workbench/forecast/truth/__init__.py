"""Did the forecast come true? Problems that were forecast, then really trained, and what the comparison says.

``prediction`` forecasts one problem, ``table`` puts forecasts beside realised costs, ``statistics`` and ``figures``
judge them. The trainings themselves are in :mod:`workbench.demos.sharing`; ``workbench bench forecast`` runs it all.
"""
