// Command floor is what the benchmarks of Latchpost measure against: the least that
// a program can do which still does the same for its client. It is built by
// bench_test.go and prints "listens on http://…" once it can be reached.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"

	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(command string, args []string) error {
	switch command {
	case "stdio": // an mcp-go server without anything
		return server.ServeStdio(server.NewMCPServer("floor", "1"))
	case "mcp": // an mcp-go server with one tool and no options; its result is read from standard input
		handler, err := bare()
		if err != nil {
			return err
		}
		return listen(handler)
	case "upstream": // an API
		return listen(http.HandlerFunc(api))
	case "proxy": // a reverse proxy that adds one header
		target, err := url.Parse(args[0])
		if err != nil {
			return err
		}
		return listen(&httputil.ReverseProxy{
			Transport: &http.Transport{MaxIdleConnsPerHost: 64},
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(target)
				r.Out.Header.Set("Authorization", "Bearer floor")
			},
		})
	}
	return fmt.Errorf("no command %q", command)
}

func listen(h http.Handler) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "listens on http://%s\n", l.Addr())
	return http.Serve(l, h)
}

func bare() (http.Handler, error) {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, err
	}
	raw := json.RawMessage(text)
	result, err := protocol.ParseCallToolResult(&raw)
	if err != nil {
		return nil, err
	}
	core := server.NewMCPServer("floor", "1")
	core.AddTool(protocol.NewTool("list_connections"), func(context.Context, protocol.CallToolRequest) (*protocol.CallToolResult, error) {
		return result, nil
	})
	return server.NewStreamableHTTPServer(core), nil
}

// api answers 1 KB of JSON to whoever brings a credential, or proves that one was added.
func api(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") == "" {
		http.Error(w, "no credential", http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer)
}

var answer = func() []byte {
	type repo struct {
		ID      int    `json:"id"`
		Name    string `json:"full_name"`
		URL     string `json:"html_url"`
		Private bool   `json:"private"`
	}
	var all []repo
	for id := range 9 {
		name := fmt.Sprintf("octocat/hello-world-%d", id)
		all = append(all, repo{1296269 + id, name, "https://git.example/" + name, id%2 == 0})
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return text
}()
