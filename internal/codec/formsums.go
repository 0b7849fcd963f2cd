package codec

import (
	"bytes"
	"net/url"
	"strconv"
)

// FixChecksums returns the form after with the checksums in it made true, as
// far as they were in before: the `crc` of Sensors Analytics over its `data` or
// `data_list`, and the `checksum` of Amplitude over v, client, e and
// upload_time. Both are the same form before and after it was rewritten. What
// was wrong before, or is gone, is left alone.
func FixChecksums(before, after []byte) []byte {
	if was, ok := sensorsSum(before); ok && value(before, "crc") == was {
		if now, ok := sensorsSum(after); ok && value(after, "crc") == was {
			after = withValue(after, "crc", now)
		}
	}
	if was, ok := amplitudeSum(before); ok && value(before, "checksum") == was {
		if now, ok := amplitudeSum(after); ok && value(after, "checksum") == was {
			after = withValue(after, "checksum", now)
		}
	}
	return after
}

func sensorsSum(form []byte) (string, bool) {
	if !bytes.Contains(form, []byte("crc=")) {
		return "", false
	}
	for _, name := range []string{"data_list", "data"} {
		if text := value(form, name); text != "" {
			return strconv.Itoa(int(JavaHash([]byte(text)))), true
		}
	}
	return "", false
}

func amplitudeSum(form []byte) (string, bool) {
	if !bytes.Contains(form, []byte("checksum=")) {
		return "", false
	}
	e, client := value(form, "e"), value(form, "client")
	if e == "" || client == "" {
		return "", false
	}
	return AmplitudeChecksum(value(form, "v"), client, e, value(form, "upload_time")), true
}

// value returns the decoded value of the first field of that name.
func value(form []byte, name string) string {
	for field := range bytes.SplitSeq(form, []byte("&")) {
		k, v, _ := bytes.Cut(field, []byte("="))
		if string(k) == name {
			text, err := url.QueryUnescape(string(v))
			if err != nil {
				return ""
			}
			return text
		}
	}
	return ""
}

// withValue replaces the value of the first field of that name.
func withValue(form []byte, name, text string) []byte {
	at := 0
	for field := range bytes.SplitSeq(form, []byte("&")) {
		k, _, ok := bytes.Cut(field, []byte("="))
		if ok && string(k) == name {
			start, end := at+len(k)+1, at+len(field)
			out := append([]byte(nil), form[:start]...)
			out = append(out, url.QueryEscape(text)...)
			return append(out, form[end:]...)
		}
		at += len(field) + 1
	}
	return form
}
