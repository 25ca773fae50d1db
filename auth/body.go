package auth

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"mime/multipart"
	"net/textproto"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Part is one part of a multipart/form-data body (RFC 7578). Data is sent as it is;
// no file of this machine is ever read.
type Part struct {
	Name        string
	Filename    string // "" = a field
	ContentType string // "" = none for a field, application/octet-stream for a file
	Data        []byte
}

// body gives the bytes to send, and their content type where a form decides it.
func (c Call) body() (body []byte, contentType string, err error) {
	switch {
	case len(c.Body) > 0 && (len(c.Form) > 0 || len(c.Parts) > 0), len(c.Form) > 0 && len(c.Parts) > 0:
		return nil, "", ErrInvalid.Say("give one kind of body: bytes, a form, or parts")
	case len(c.Form) > 0:
		return []byte(url.Values(c.Form).Encode()), "application/x-www-form-urlencoded", nil
	case len(c.Parts) > 0:
		return multipartBody(c.Parts)
	}
	return c.Body, "", nil
}

// multipartBody has a boundary that is made of the parts, so that a call that is
// repeated after an approval is the same call.
func multipartBody(parts []Part) ([]byte, string, error) {
	sum := sha256.New()
	for _, p := range parts {
		for _, field := range [][]byte{[]byte(p.Name), []byte(p.Filename), []byte(p.ContentType), p.Data} {
			_ = binary.Write(sum, binary.BigEndian, uint64(len(field))) // a hash takes everything
			sum.Write(field)
		}
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary(hex.EncodeToString(sum.Sum(nil))); err != nil {
		return nil, "", err
	}
	for _, p := range parts {
		kind := p.ContentType
		if kind == "" && p.Filename != "" {
			kind = "application/octet-stream"
		}
		if p.Name == "" || !httpguts.ValidHeaderFieldValue(kind) {
			return nil, "", ErrInvalid.Say("every part needs a name, and a content type without control characters")
		}
		disposition := multipart.FileContentDisposition(p.Name, p.Filename)
		if p.Filename == "" {
			disposition = strings.TrimSuffix(disposition, `; filename=""`)
		}
		header := textproto.MIMEHeader{"Content-Disposition": {disposition}}
		if kind != "" {
			header.Set("Content-Type", kind)
		}
		part, err := w.CreatePart(header)
		if err != nil {
			return nil, "", err
		}
		if _, err := part.Write(p.Data); err != nil {
			return nil, "", err
		}
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	return b.Bytes(), w.FormDataContentType(), nil
}
