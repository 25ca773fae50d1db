package web

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestContrast holds the colours of the stylesheet to WCAG 2.2 AA, light and dark:
// 4.5 to 1 for text, 3 to 1 for the edges of controls.
func TestContrast(t *testing.T) {
	css, err := staticFiles.ReadFile("static/latchpost.css")
	if err != nil {
		t.Fatal(err)
	}
	schemes := regexp.MustCompile(`(?s):root \{(.*?)\n *\}`).FindAllStringSubmatch(string(css), -1)
	if len(schemes) != 2 {
		t.Fatalf("%d sets of colours", len(schemes))
	}
	for i, scheme := range schemes {
		colour := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z0-9-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(scheme[1], -1) {
			colour[m[1]] = luminance(t, m[2])
		}
		for need, pairs := range map[float64]string{
			4.5: "ink/paper ink/card ink/sunk ink-2/paper ink-2/card ink-2/sunk ink-2/tint accent/paper accent/card accent/tint on-accent/accent on-accent/accent-2 warn/warn-bg bad/bad-bg bad/card ink/tint",
			3:   "edge/card edge/paper accent/card",
		} {
			for _, pair := range strings.Fields(pairs) {
				a, b, _ := strings.Cut(pair, "/")
				x, okX := colour[a]
				y, okY := colour[b]
				if ratio := (max(x, y) + .05) / (min(x, y) + .05); !okX || !okY || ratio < need {
					t.Errorf("scheme %d: %s is %.2f to 1, needs %.1f", i, pair, ratio, need)
				}
			}
		}
	}
}

// luminance is the relative luminance of WCAG 2.2.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	linear := func(c uint64) float64 {
		v := float64(c&0xff) / 255
		if v <= .04045 {
			return v / 12.92
		}
		return math.Pow((v+.055)/1.055, 2.4)
	}
	return .2126*linear(n>>16) + .7152*linear(n>>8) + .0722*linear(n)
}
