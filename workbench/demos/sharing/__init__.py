"""What does it cost tasks to share a network? Problems on real digits, and the trainings that measure it.

The truth that forecasts are judged by. ``catalogue`` lists the problems, ``truth.measure`` trains one alone and
together, ``runner`` does it for many in a child process.
"""
