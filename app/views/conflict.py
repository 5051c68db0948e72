from frame import lens_page

page = lens_page("conflict")
page.main()
page.further()
