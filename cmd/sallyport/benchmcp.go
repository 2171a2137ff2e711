package main

import "context"

func (b *bench) mcp(ctx context.Context) ([]benchRow, error)   { return nil, nil }
func (b *bench) start(ctx context.Context) ([]benchRow, error) { return nil, nil }
