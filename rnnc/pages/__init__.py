"""Results as HTML files to look at and print: self-contained, without scripts."""
