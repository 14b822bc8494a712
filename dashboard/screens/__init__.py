"""One module per page; each offers ``page(visit)``.

Not called ``pages``: Streamlit runs every file of a folder of that name beside its script as a
page of its own, without the frame and its login, and an address such as ``/events`` led there.
"""
