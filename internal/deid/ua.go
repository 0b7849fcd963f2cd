package deid

import (
	"strconv"

	"github.com/mileusna/useragent"

	"github.com/consentgate/consentgate/internal/payload"
)

// Longest User-Agent that is looked at. In-app browsers send some 600 bytes;
// the bound keeps the parser, which is not linear, cheap on hostile ones.
const maxUserAgent = 1024

// Greatest major version that is believed; a larger one is no version.
const maxMajor = 999

var uaDefinition = definition{
	Doc: Doc{
		Name:     "ua",
		Summary:  "Keeps of a User-Agent the browser's family and major version, the family of the operating system, and whether it is a mobile phone's.",
		Bare:     true,
		Examples: []string{"ua"},
	},
	build: func(values, Env) (payload.Transformer, error) { return ua{}, nil },
}

// ua writes a User-Agent of its own (RFC 9110, section 10.1.5):
// "Chrome/120 (Android; Mobile)". All words in it come from the tables below
// and the version is a small number, so nothing of the raw text passes; what
// the parser calls a name may be the whole of a text that it cannot read. A
// browser that the tables do not know is "Other"; where the operating system
// is unknown too there is nothing to say, and the value does not fit.
type ua struct{}

// browsers names families by a token, from what the parser calls them.
var browsers = map[string]string{
	useragent.Chrome:              "Chrome",
	useragent.HeadlessChrome:      "HeadlessChrome",
	useragent.Firefox:             "Firefox",
	useragent.Safari:              "Safari",
	useragent.Edge:                "Edge",
	useragent.Opera:               "Opera",
	useragent.OperaMini:           "OperaMini",
	useragent.OperaTouch:          "OperaTouch",
	useragent.Vivaldi:             "Vivaldi",
	useragent.InternetExplorer:    "InternetExplorer",
	useragent.SamsungBrowser:      "SamsungBrowser",
	useragent.FacebookApp:         "Facebook",
	useragent.InstagramApp:        "Instagram",
	useragent.TiktokApp:           "TikTok",
	useragent.Googlebot:           "Googlebot",
	useragent.GoogleAdsBot:        "AdsBot-Google",
	useragent.Bingbot:             "bingbot",
	useragent.Applebot:            "Applebot",
	useragent.YandexBot:           "YandexBot",
	useragent.YandexAdNet:         "YandexAdNet",
	useragent.Twitterbot:          "Twitterbot",
	useragent.FacebookExternalHit: "facebookexternalhit",
	"Android browser":             "AndroidBrowser",
	"Baiduspider":                 "Baiduspider",
	"Bytespider":                  "Bytespider",
	"HeyTapBrowser":               "HeyTapBrowser",
	"Huawei Browser":              "HuaweiBrowser",
	"MQQBrowser":                  "QQBrowser",
	"MicroMessenger":              "WeChat",
	"MiuiBrowser":                 "MiuiBrowser",
	"Miui Browser":                "MiuiBrowser",
	"QQBrowser":                   "QQBrowser",
	"UCBrowser":                   "UCBrowser",
	"VivoBrowser":                 "VivoBrowser",
	"YaBrowser":                   "YaBrowser",
	"baiduboxapp":                 "Baidu",
}

// systems names families of operating systems likewise.
var systems = map[string]string{
	useragent.Android:      "Android",
	useragent.IOS:          "iOS",
	useragent.MacOS:        "macOS",
	useragent.Windows:      "Windows",
	useragent.WindowsPhone: "Windows Phone",
	useragent.Linux:        "Linux",
	useragent.FreeBSD:      "FreeBSD",
	useragent.ChromeOS:     "ChromeOS",
	useragent.BlackBerry:   "BlackBerry",
	useragent.Harmony:      "Harmony",
}

func (ua) Append(dst, text []byte, kind payload.Kind, _ *payload.Params) ([]byte, payload.Kind, bool) {
	if kind != payload.String || len(text) > maxUserAgent {
		return dst, kind, false
	}
	agent := useragent.Parse(string(text))
	browser, known := browsers[agent.Name]
	system := systems[agent.OS]
	if !known && system == "" {
		return dst, kind, false
	}
	if !known {
		browser = "Other"
	}
	dst = append(dst, browser...)
	if major := agent.VersionNo.Major; known && major > 0 && major <= maxMajor {
		dst = strconv.AppendInt(append(dst, '/'), int64(major), 10)
	}
	if system != "" {
		dst = append(append(dst, " ("...), system...)
		if agent.Mobile {
			dst = append(dst, "; Mobile"...)
		}
		dst = append(dst, ')')
	}
	return dst, kind, true
}
