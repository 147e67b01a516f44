"""From a run's folder and settings to an open run: its images, network, space, costs and budget.

May import all but the stages, the reports and the research.
"""
