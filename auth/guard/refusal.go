package guard

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// refusal is why a request goes no further. Its texts are fixed: nothing of the request is reflected.
type refusal struct {
	status  int
	code    string // for programs
	message string // for people, ends with what to do
}

func (no *refusal) Error() string { return no.code }

func (no *refusal) write(w http.ResponseWriter, class Class) {
	if !class.API {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(no.status)
		fmt.Fprintln(w, no.message)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(no.status)
	json.NewEncoder(w).Encode(map[string]string{"error": no.code, "message": no.message})
}
