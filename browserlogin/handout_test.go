package browserlogin

import (
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/providers"
)

// Whoever gets a session in their hands reads what of it is missing, and what will not last.
func TestReleaseWarns(t *testing.T) {
	flow := &auth.Flow{Provider: &providers.Provider{Name: "Practice", Browser: &providers.Browser{}}}
	for text, in := range map[string]contents{
		"IndexedDB":    {Version: 1, Partial: true},
		"stop working": {Version: 1, Bound: true},
	} {
		for _, there := range []bool{true, false} {
			if !there {
				in.Partial, in.Bound = false, false
			}
			got, err := new(Connector).Release(flow, &auth.Credential{Session: hide(&in).Seal()}, "storage_state", "")
			if err != nil || strings.Contains(got.Warning, text) != there {
				t.Errorf("%q, %v", got.Warning, err)
			}
		}
	}
}
