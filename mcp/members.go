package mcp

import (
	"bytes"
	"encoding/json"
	"iter"
)

const blanks = " \t\r\n"

// members are the keys, in their quotes, and the values of an object. It has passed strictjson.Check, so
// only their ends have to be found, which costs no allocation: every message of every client comes through here.
func members(object json.RawMessage) iter.Seq2[json.RawMessage, json.RawMessage] {
	return func(yield func(key, value json.RawMessage) bool) {
		rest := bytes.TrimLeft(object, blanks+"{")
		for rest[0] != '}' {
			end := length(rest)
			key := rest[:end]
			rest = bytes.TrimLeft(rest[end:], blanks+":")
			end = length(rest)
			if !yield(key, rest[:end]) {
				return
			}
			rest = bytes.TrimLeft(rest[end:], blanks+",")
		}
	}
}

// length is how long the JSON value is that data begins with.
func length(data []byte) int {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			for i++; data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // a number or a word ended
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
	return len(data)
}
