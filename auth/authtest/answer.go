package authtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// Answer sends this instead of doing anything. An empty content type sends none.
func Answer(status int, contentType, body string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header()["Content-Type"] = nil
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// Refuse answers with an OAuth error (RFC 6749 section 5.2).
func Refuse(status int, code, description string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		writeJSON(w, status, map[string]any{"error": code, "error_description": description})
	}
}

// LoginPage is the HTML a proxy or a lost session puts in the place of an answer.
func LoginPage(status int) Fault {
	return Answer(status, "text/html; charset=utf-8", "<!doctype html><title>Sign in</title><form><input name=user></form>")
}

// Busy answers 429, 503 or the like with Retry-After as given: seconds, a date,
// or nonsense. An empty one sends no such header.
func Busy(status int, retryAfter string) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		Answer(status, "text/plain", "busy, come back later\n")(w, r, next)
	}
}

// Redirect sends the client elsewhere. 307 and 308 ask it to repeat the body there.
func Redirect(status int, location string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	}
}

// Echo answers 500 with the whole request in the body, secrets included, as
// servers in debug mode do.
func Echo(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	var dump bytes.Buffer
	fmt.Fprintf(&dump, "%s %s\n", r.Method, r.RequestURI)
	_ = r.Header.Write(&dump)
	dump.WriteString("\n")
	_, _ = dump.ReadFrom(r.Body)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = w.Write(dump.Bytes())
}

// Rewrite lets the honest handler do its work and changes the body it sends.
func Rewrite(change func(body []byte) []byte) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := record(r, next)
		changed := change(bytes.Clone(answer.body.Bytes()))
		answer.body.Reset()
		answer.body.Write(changed)
		answer.send(w)
	}
}

// ContentType sends the honest body under another name. An empty one sends none.
func ContentType(contentType string) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := record(r, next)
		answer.header["Content-Type"] = []string{contentType}
		if contentType == "" {
			answer.header["Content-Type"] = nil
		}
		answer.send(w)
	}
}

// AsForm sends the honest answer form-encoded, as GitHub does when it is not
// asked for JSON.
func AsForm(w http.ResponseWriter, r *http.Request, next http.Handler) {
	answer := record(r, next)
	form := make(url.Values)
	for name, value := range decode(answer.body.Bytes()) {
		form.Set(name, fmt.Sprint(value))
	}
	Answer(answer.status, "application/x-www-form-urlencoded", form.Encode())(w, r, next)
}

// With sets fields of the JSON object that the honest handler sends. A
// json.RawMessage goes out as it is, which is how a number gets an odd form.
func With(fields map[string]any) Fault {
	return rewriteJSON(func(object map[string]any) {
		for name, value := range fields {
			object[name] = value
		}
	})
}

// Without removes fields of the JSON object that the honest handler sends. To leave
// out a refresh token honestly, that is without rotating it, set
// Options.Rotation to RotateNever.
func Without(names ...string) Fault {
	return rewriteJSON(func(object map[string]any) {
		for _, name := range names {
			delete(object, name)
		}
	})
}

// Twice repeats a field of the JSON object with another value, first and last
// being legal readings of it.
func Twice(name, first string) Fault {
	return Rewrite(func(body []byte) []byte {
		return append([]byte("{"+strconv.Quote(name)+":"+strconv.Quote(first)+","), body[1:]...)
	})
}

func rewriteJSON(change func(map[string]any)) Fault {
	return Rewrite(func(body []byte) []byte {
		object := decode(body)
		change(object)
		changed, err := json.Marshal(object)
		if err != nil {
			panic("authtest: " + err.Error())
		}
		return changed
	})
}

// decode reads an answer of our own; numbers keep their form.
func decode(body []byte) map[string]any {
	object := make(map[string]any)
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil {
		panic("authtest: the answer to change is not a JSON object: " + err.Error())
	}
	return object
}

// Callback changes the query with which "POST /authorize" sends the browser back:
// another iss, no state, a code that is there twice.
func Callback(change func(query url.Values)) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := record(r, next)
		if location, err := url.Parse(answer.header.Get("Location")); err == nil && location.Host != "" {
			query := location.Query()
			change(query)
			location.RawQuery = query.Encode()
			answer.header.Set("Location", location.String())
		}
		answer.send(w)
	}
}
