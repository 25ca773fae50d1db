package mcp

import "net/http"

// above is a ResponseWriter that stands on another, and shows of it what is asked for besides: mcp-go looks for http.Flusher,
// http.ResponseController for Unwrap.
type above struct{ http.ResponseWriter }

func (a above) Flush() { _ = http.NewResponseController(a.ResponseWriter).Flush() }

func (a above) Unwrap() http.ResponseWriter { return a.ResponseWriter }
