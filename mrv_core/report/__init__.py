# SPDX-License-Identifier: MIT
"""The integrity report and its renderings."""
