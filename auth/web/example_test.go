package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/web"
)

// The pages over a vault that is put together elsewhere. Whoever has no session
// learns how to get one.
func ExampleNew() {
	site := web.New(&auth.Vault{}, web.Options{Local: true})
	w := httptest.NewRecorder()
	site.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/connections", nil))
	fmt.Println(w.Code, w.Header().Get("Cache-Control"))
	// Output: 401 no-store
}
