package mcp

// mcp-go v1.2.1 answers its streams with Cache-Control: no-cache, which lets a cache keep them. What a
// tool answered is kept nowhere.
type unkept struct {
	above
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

func (u *unkept) Flush() {
	u.begin()
	u.above.Flush()
}
