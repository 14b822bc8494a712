"""Fixtures of the contract suites."""

from tests.contract.bus_rig import bus, clock, rig

__all__ = ["bus", "clock", "rig"]
