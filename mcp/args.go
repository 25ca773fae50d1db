package mcp

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	protocol "github.com/mark3labs/mcp-go/mcp"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/providers/strictjson"
)

// maxWait bounds wait_seconds: hosts give up on a tool after 60 seconds.
const maxWait = 25

// arguments gives the bytes that the client sent, so that large numbers survive.
func arguments(req protocol.CallToolRequest) (json.RawMessage, error) {
	switch raw := req.GetRawArguments().(type) {
	case nil:
		return json.RawMessage("{}"), nil
	case json.RawMessage:
		if string(raw) == "null" {
			return json.RawMessage("{}"), nil
		}
		return withoutHosts(raw), nil
	default: // called in process
		text, err := json.Marshal(raw)
		if err != nil {
			return nil, auth.ErrInvalid.Say("the arguments must be a JSON object")
		}
		return text, nil
	}
}

// hostsOwn is what Gemini CLI writes into the schema of every tool that it shows its model, to bring its calls into an order,
// and passes on to the server all the same.
const hostsOwn = "wait_for_previous"

// withoutHosts takes it out of the arguments. Every other one that a tool does not have is refused.
func withoutHosts(args json.RawMessage) json.RawMessage {
	if !bytes.Contains(args, []byte(`"`+hostsOwn+`"`)) {
		return args
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(args, &all) != nil || all[hostsOwn] == nil {
		return args // read says what is wrong, and a body is the agent's own
	}
	delete(all, hostsOwn)
	var rest bytes.Buffer
	enc := json.NewEncoder(&rest)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(all); err != nil {
		return args
	}
	return rest.Bytes()
}

// read decodes the arguments into a struct that has a field for each of them.
func (c call) read(into any) error {
	err := strictjson.Decode(c.args, into, strictjson.Limits{Bytes: maxMessage, Depth: maxDepth})
	wrong, bad := errors.AsType[*strictjson.Error](err)
	switch {
	case !bad:
		return err
	case wrong.Path == "":
		return auth.ErrInvalid.Say("the arguments are not in order: %s", wrong.Reason)
	case wrong.Reason == "unknown field":
		return auth.ErrInvalid.Say("unknown argument %s; the tool takes %s", visible(wrong.Path, 80), names(into))
	default:
		return auth.ErrInvalid.Say("argument %s: %s", visible(wrong.Path, 80), wrong.Reason)
	}
}

// names lists the arguments that a struct takes.
func names(args any) string {
	var all []string
	for _, f := range reflect.VisibleFields(reflect.TypeOf(args).Elem()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		all = append(all, name)
	}
	return strings.Join(all, ", ")
}

// required refuses arguments that are not there; pairs are name, value.
func required(pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			return auth.ErrInvalid.Say("argument %s is missing", pairs[i])
		}
	}
	return nil
}

// whole is an integer as JSON Schema means it: 5.0 and 5e0 are 5. What is too large for an int is the
// largest, so that the argument's bounds refuse it.
type whole int

// longestInt is how many digits an int surely has room for.
const longestInt = 18

func (n *whole) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	number := strings.ToLower(string(text))
	wrong := &json.UnmarshalTypeError{Value: "number " + number, Type: reflect.TypeFor[int]()}
	if c := number[0]; c != '-' && (c < '0' || c > '9') {
		wrong.Value = "not a number"
		return wrong
	}
	number, minus := strings.CutPrefix(number, "-")
	number, exponent, _ := strings.Cut(number, "e")
	before, after, _ := strings.Cut(number, ".")
	digits := strings.TrimLeft(before+after, "0")
	if digits == "" {
		*n = 0
		return nil
	}
	power, err := strconv.Atoi(cmp.Or(exponent, "0"))
	if err != nil { // beyond all bounds
		power = math.MaxInt32
		if strings.HasPrefix(exponent, "-") {
			power = math.MinInt32
		}
	}
	short := strings.TrimRight(digits, "0")
	power += len(digits) - len(short) - len(after)
	switch {
	case power < 0:
		return wrong
	case len(short)+power > longestInt:
		*n = math.MaxInt
	default:
		value, err := strconv.Atoi(short + strings.Repeat("0", power))
		if err != nil {
			return wrong
		}
		*n = whole(value)
	}
	if minus {
		*n = -*n
	}
	return nil
}

// waiting turns wait_seconds into a duration.
func waiting(seconds whole) (time.Duration, error) {
	return time.Duration(seconds) * time.Second, between("wait_seconds", seconds, 0, maxWait)
}

func between(name string, n, least, most whole) error {
	if n < least || n > most {
		return auth.ErrInvalid.Say("argument %s: must be %d to %d", name, least, most)
	}
	return nil
}
