"""Find a better prompt and prove it: MIPRO prompt optimization with an honest test."""
