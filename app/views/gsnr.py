from frame import lens_page

page = lens_page("gsnr")
page.main()
page.further()
