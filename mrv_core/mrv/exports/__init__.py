# SPDX-License-Identifier: MIT
"""Records in the formats of others: one module each, a function from facts to text. What is unknown stays so."""
