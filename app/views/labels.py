from frame import lens_page

page = lens_page("labels")
page.main()
page.further()
