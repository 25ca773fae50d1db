package main

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
)

// buildVersion is the module's version, or the commit it was built from.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "dev-" + s.Value[:12]
		}
	}
	return "dev"
}

func version(_ context.Context, s *settings, args []string) error {
	if len(args) > 0 {
		return usagef("version takes no arguments")
	}
	if s.json {
		return json.NewEncoder(s.out).Encode(map[string]string{"version": buildVersion()})
	}
	fmt.Fprintln(s.out, "latchpost", buildVersion())
	return nil
}
