package authtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// Browser signs in by plain HTTP: it keeps cookies, fills the first form of each
// page and sends it, and stops when a redirect leaves the server it started on, or
// when a page has no form. It knows no script.
type Browser struct {
	// Fill has the values of text fields by their names.
	Fill map[string]string

	// Press is the value of the button to press. Empty means the first one.
	Press string

	// Untick has the values of check boxes that are not to be sent.
	Untick []string

	client *http.Client
}

// Cookies that the browser would send to an address.
func (b *Browser) Cookies(address string) []*http.Cookie {
	u, err := url.Parse(address)
	if err != nil || b.client == nil {
		return nil
	}
	return b.client.Jar.Cookies(u)
}

// Visit is where a walk ended.
type Visit struct {
	Left string // the address a redirect led to on another server, or empty
	Page string // the text of the last page, if the walk ended on one

	// Links are the addresses that the last page leads to, in its order.
	Links []string
}

// maxSteps ends a walk that goes round in circles, as with a wrong password.
const maxSteps = 20

// Walk opens start and goes on as far as it can.
func (b *Browser) Walk(ctx context.Context, start string) (Visit, error) {
	if b.client == nil {
		jar, _ := cookiejar.New(nil)
		b.client = &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, start, nil)
	if err != nil {
		return Visit{}, err
	}
	home := req.URL.Host
	for range maxSteps {
		resp, err := b.client.Do(req)
		if err != nil {
			return Visit{}, err
		}
		page, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		_ = resp.Body.Close()
		if err != nil {
			return Visit{}, err
		}
		if location, err := resp.Location(); err == nil {
			if location.Host != home {
				return Visit{Left: location.String()}, nil
			}
			if req, err = http.NewRequestWithContext(ctx, http.MethodGet, location.String(), nil); err != nil {
				return Visit{}, err
			}
			continue
		}
		document, err := html.Parse(strings.NewReader(string(page)))
		if err != nil {
			return Visit{}, err
		}
		if resp.StatusCode >= 400 {
			return Visit{}, fmt.Errorf("authtest: %s answered %s: %s", req.URL.Path, resp.Status, text(document))
		}
		form := first(document, "form")
		if form == nil {
			return Visit{Page: text(document), Links: links(document, req.URL)}, nil
		}
		if req, err = b.submit(ctx, req.URL, form); err != nil {
			return Visit{}, err
		}
	}
	return Visit{}, errors.New("authtest: the sign-in goes round in circles; look at Fill and Press")
}

// submit makes the request that sends the form.
func (b *Browser) submit(ctx context.Context, page *url.URL, form *html.Node) (*http.Request, error) {
	values, pressed := make(url.Values), false
	for node := range form.Descendants() {
		name, value := attr(node, "name"), attr(node, "value")
		switch {
		case node.Type != html.ElementNode || name == "":
		case node.Data == "button" || node.Data == "input" && attr(node, "type") == "submit":
			if !pressed && (b.Press == "" || b.Press == value) {
				values.Set(name, value)
				pressed = true
			}
		case node.Data == "input" && attr(node, "type") == "checkbox":
			if !slices.Contains(b.Untick, value) {
				values.Add(name, value)
			}
		case node.Data == "input" && attr(node, "type") == "radio" && !has(node, "checked"):
		case node.Data == "select":
			value = attr(first(node, "option"), "value")
			if fill, ok := b.Fill[name]; ok {
				value = fill
			}
			values.Set(name, value)
		case node.Data == "input":
			if fill, ok := b.Fill[name]; ok {
				value = fill
			}
			values.Set(name, value)
		}
	}
	target, err := page.Parse(attr(form, "action"))
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(values.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req, nil
}

func first(root *html.Node, name string) *html.Node {
	for node := range root.Descendants() {
		if node.Type == html.ElementNode && node.Data == name {
			return node
		}
	}
	return nil
}

func attr(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(node *html.Node, name string) bool {
	return slices.ContainsFunc(node.Attr, func(a html.Attribute) bool { return a.Key == name })
}

func links(root *html.Node, page *url.URL) []string {
	var found []string
	for node := range root.Descendants() {
		if node.Type != html.ElementNode || node.Data != "a" {
			continue
		}
		if target, err := page.Parse(attr(node, "href")); err == nil {
			found = append(found, target.String())
		}
	}
	return found
}

func text(root *html.Node) string {
	var words []string
	for node := range root.Descendants() {
		if node.Type == html.TextNode && node.Parent.Data != "style" && node.Parent.Data != "title" {
			words = append(words, strings.Fields(node.Data)...)
		}
	}
	return strings.Join(words, " ")
}
