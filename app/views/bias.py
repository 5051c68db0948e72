from frame import lens_page

page = lens_page("bias")
page.main()
page.further()
