"""The script that Streamlit runs on every rerun. What it does is in ``dashboard.board``."""

from dashboard import board

board.main()
