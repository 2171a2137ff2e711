package demo

import "embed"

// Files are the demonstration's policies, templates and documents.
//
//go:embed all:files
var Files embed.FS
