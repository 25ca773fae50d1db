package guard

import (
	"mime"
	"net/http"
	"slices"
)

var anyType = []string{"application/x-www-form-urlencoded", "multipart/form-data", "application/json"}

// contentType refuses a body of a kind that the path does not take. Above all text/plain, which a foreign page can send without
// asking, and compressed bodies.
func (g *guard) contentType(_ http.ResponseWriter, r *http.Request, class Class) *refusal {
	if r.ContentLength == 0 {
		return nil
	}
	types := class.Types
	if types == nil {
		types = anyType
	}
	values := r.Header.Values("Content-Type")
	if len(values) == 1 && r.Header.Get("Content-Encoding") == "" {
		if got, _, err := mime.ParseMediaType(values[0]); err == nil && slices.Contains(types, got) {
			return nil
		}
	}
	return &refusal{http.StatusUnsupportedMediaType, "unsupported_media_type", "The body has a type that is not accepted here. Send " + types[len(types)-1] + ", uncompressed."}
}
