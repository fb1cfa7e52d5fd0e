"""The page of `launch.report --html`: charts by Vega-Altair, text by Jinja, everything in one file."""
