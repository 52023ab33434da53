# SPDX-License-Identifier: MIT
"""What `mrv serve` serves; so far the built dashboard, `static/index.html`, which is of use by itself."""
