from frame import lens_page

page = lens_page("domains")
page.main()
page.further()
