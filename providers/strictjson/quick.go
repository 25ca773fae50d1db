package strictjson

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// The bounds of quick: whatever needs more goes the long way.
const (
	quickKeys  = 64 // that are open at once, over all levels
	quickDepth = 32
)

// quick reports that text is fine for t, without allocating, for the text of every day:
// keys of plain ASCII, few of them. False says nothing: the long way then finds
// what is wrong and where.
func quick(data []byte, t reflect.Type, lim Limits) bool {
	if !json.Valid(data) { // from here on only strings need care
		return false
	}
	var (
		keys    [quickKeys][]byte
		count   int                      // of keys that are open
		starts  [quickDepth]int          // where the keys of each level begin; -1 is a list
		types   [quickDepth]reflect.Type // that take the values of each level
		level   int
		keyNext bool
	)
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			if level == lim.Depth || level == quickDepth {
				return false
			}
			if level > 0 && starts[level-1] < 0 {
				t = elem(pointee(types[level-1]), reflect.Slice)
			}
			types[level] = t
			starts[level] = -1
			if keyNext = data[i] == '{'; keyNext {
				starts[level] = count
			}
			level++
		case '}', ']':
			level--
			if starts[level] >= 0 {
				count = starts[level]
			}
			keyNext = false
		case ',':
			keyNext = level > 0 && starts[level-1] >= 0
		case '"':
			end := closing(data, i+1)
			if keyNext {
				key := data[i+1 : end]
				if count == quickKeys || !plainKey(key) || among(key, keys[starts[level-1]:count]) {
					return false
				}
				keys[count] = key
				count++
				keyNext = false
				var ok bool
				if t, ok = takes(types[level-1], key); !ok {
					return false
				}
			}
			i = end
		}
	}
	return true
}

// takes gives the type that takes the value of key in t; false when t has no such field.
func takes(t reflect.Type, key []byte) (reflect.Type, bool) {
	t = pointee(t)
	if t == nil || t.Kind() != reflect.Struct {
		return elem(t, reflect.Map), true
	}
	taker, known := membersOf(t).named[string(key)]
	return taker, known
}

// closing is where the string that begins at i ends.
func closing(data []byte, i int) int {
	for data[i] != '"' {
		if data[i] == '\\' {
			i++
		}
		i++
	}
	return i
}

// plainKey holds for keys that are written as they are meant, and fold as ASCII does.
func plainKey(key []byte) bool {
	for _, b := range key {
		if b == '\\' || b >= 0x80 {
			return false
		}
	}
	return true
}

func among(key []byte, others [][]byte) bool {
	for _, o := range others {
		if len(o) == len(key) && bytes.EqualFold(o, key) {
			return true
		}
	}
	return false
}
