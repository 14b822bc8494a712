"""Moving between pages; what is chosen stays in the address, to be shared."""

from __future__ import annotations

import streamlit as st


def go(page: str, **params: str | int) -> None:
    """Open a page with parameters. Does nothing when the role does not have that page."""
    target = st.session_state.get("_pages", {}).get(page)
    if target is not None:
        st.switch_page(target, query_params={k: str(v) for k, v in params.items()})


def can_go(page: str) -> bool:
    return page in st.session_state.get("_pages", {})


def chosen(name: str) -> str:
    """A parameter of the address, ``""`` when absent."""
    return str(st.query_params.get(name, ""))


def choose(name: str, value: str) -> None:
    """Set or, with an empty value, remove a parameter of the address."""
    if value:
        st.query_params[name] = value
    elif name in st.query_params:
        del st.query_params[name]
