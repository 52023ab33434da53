# SPDX-License-Identifier: MIT
"""Measurement, reporting, verification: the energy and CO2 of a training run, as a record that others can recompute."""
