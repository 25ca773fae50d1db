package mcp

import "net/http"

// mcp-go v1.2.1 answers its streams with Cache-Control: no-cache, which lets a cache keep them. What a
// tool answered is kept nowhere.
type unkept struct {
	http.ResponseWriter
	begun bool
}

func (u *unkept) begin() {
	if !u.begun {
		u.begun = true
		u.Header().Set("Cache-Control", "no-store")
	}
}

func (u *unkept) WriteHeader(status int) {
	u.begin()
	u.ResponseWriter.WriteHeader(status)
}

func (u *unkept) Write(b []byte) (int, error) {
	u.begin()
	return u.ResponseWriter.Write(b)
}

// Flush is here because mcp-go looks for http.Flusher.
func (u *unkept) Flush() {
	u.begin()
	_ = http.NewResponseController(u.ResponseWriter).Flush()
}

func (u *unkept) Unwrap() http.ResponseWriter { return u.ResponseWriter }
