package mcp

func childMain(mode string) {}
