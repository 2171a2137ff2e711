from . import banking, slack, travel, workspace

SUITES = [workspace, slack, banking, travel]
