from . import banking, dailylife, github, shopping, slack, travel, workspace

SUITES = [workspace, slack, banking, travel, shopping, github, dailylife]
