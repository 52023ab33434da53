# SPDX-License-Identifier: MIT
"""The driver `ethereum`."""
