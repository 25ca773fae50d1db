package guard_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/latchpost/latchpost/auth/guard"
)

func ExampleNew() {
	layers := guard.New(guard.Options{
		Hosts:   []string{"latchpost.example"},
		Origins: []string{"https://latchpost.example"},
		TLS:     true,
	})
	pages := layers(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello")
	}))
	for _, url := range []string{"https://latchpost.example/", "https://rebound.example/", "https://latchpost.example//x"} {
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, httptest.NewRequest("GET", url, nil))
		fmt.Println(w.Code)
	}
	// Output:
	// 200
	// 421
	// 404
}
