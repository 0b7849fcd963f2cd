package detect

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

const samples = 20_000

// population is a kind of values that name nobody.
type population struct {
	en, zh string
	make   func(r *rand.Rand, i int) string
}

func digitString(r *rand.Rand, n int) string {
	b := []byte{byte('1' + r.IntN(9))}
	for len(b) < n {
		b = append(b, byte('0'+r.IntN(10)))
	}
	return string(b)
}

func hexString(r *rand.Rand, n int) string {
	b := make([]byte, (n+1)/2)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return hex.EncodeToString(b)[:n]
}

// day returns a moment of the years 2015 to 2034.
func day(r *rand.Rand) time.Time {
	return time.Unix(1420070400+r.Int64N(20*365*86400), r.Int64N(1e9)).UTC()
}

func snowflake(epoch int64) func(*rand.Rand, int) string {
	return func(r *rand.Rand, _ int) string {
		return fmt.Sprint((day(r).UnixMilli()-epoch)<<22 | r.Int64N(1<<22))
	}
}

func uuidString(r *rand.Rand) string {
	h := hexString(r, 32)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

var populations = []population{
	{"sequential ids, from 1", "自增编号，从 1 起", func(_ *rand.Rand, i int) string { return fmt.Sprint(i + 1) }},
	{"sequential ids, from 10,000,000,000", "自增编号，从 10,000,000,000 起", func(_ *rand.Rand, i int) string { return fmt.Sprint(10_000_000_000 + i) }},
	{"sequential ids, 15 digits with zeros before", "自增编号，前补零至 15 位", func(_ *rand.Rand, i int) string { return fmt.Sprintf("%015d", i+1) }},
	{"random digits, 11", "随机数字，11 位", func(r *rand.Rand, _ int) string { return digitString(r, 11) }},
	{"random digits, 13", "随机数字，13 位", func(r *rand.Rand, _ int) string { return digitString(r, 13) }},
	{"random digits, 14", "随机数字，14 位", func(r *rand.Rand, _ int) string { return digitString(r, 14) }},
	{"random digits, 15", "随机数字，15 位", func(r *rand.Rand, _ int) string { return digitString(r, 15) }},
	{"random digits, 16", "随机数字，16 位", func(r *rand.Rand, _ int) string { return digitString(r, 16) }},
	{"random digits, 17", "随机数字，17 位", func(r *rand.Rand, _ int) string { return digitString(r, 17) }},
	{"random digits, 18", "随机数字，18 位", func(r *rand.Rand, _ int) string { return digitString(r, 18) }},
	{"random digits, 19", "随机数字，19 位", func(r *rand.Rand, _ int) string { return digitString(r, 19) }},
	{"random digits, 20", "随机数字，20 位", func(r *rand.Rand, _ int) string { return digitString(r, 20) }},
	{"snowflake ids, epoch November 2010", "雪花算法编号，纪元 2010 年 11 月", snowflake(1288834974657)},
	{"snowflake ids, epoch January 2015", "雪花算法编号，纪元 2015 年 1 月", snowflake(1420070400000)},
	{"16-digit ids from 45… to 54…, as of microblog posts", "16 位编号，45… 至 54…（如微博 mid）", func(r *rand.Rand, _ int) string { return fmt.Sprint(4_500_000_000_000_000 + r.Int64N(1e15)) }},
	{"Unix time in s", "Unix 时间，秒", func(r *rand.Rand, _ int) string { return fmt.Sprint(day(r).Unix()) }},
	{"Unix time in ms", "Unix 时间，毫秒", func(r *rand.Rand, _ int) string { return fmt.Sprint(day(r).UnixMilli()) }},
	{"Unix time in µs", "Unix 时间，微秒", func(r *rand.Rand, _ int) string { return fmt.Sprint(day(r).UnixMicro()) }},
	{"Unix time in ns", "Unix 时间，纳秒", func(r *rand.Rand, _ int) string { return fmt.Sprint(day(r).UnixNano()) }},
	{"order numbers: date and 8 to 20 digits", "订单号：日期加 8 至 20 位数字", func(r *rand.Rand, _ int) string {
		return day(r).Format("20060102") + digitString(r, 8+r.IntN(13))
	}},
	{"order numbers: date, time and 2 to 14 digits", "订单号：日期时间加 2 至 14 位数字", func(r *rand.Rand, _ int) string {
		return day(r).Format("20060102150405") + digitString(r, 2+r.IntN(13))
	}},
	{"order numbers: letters, date and digits", "订单号：字母、日期加数字", func(r *rand.Rand, _ int) string {
		return "SO" + day(r).Format("060102") + "-" + digitString(r, 4+r.IntN(9))
	}},
	{"dates with time", "日期时间", func(r *rand.Rand, _ int) string { return day(r).Format(time.RFC3339Nano) }},
	{"file names with date and time", "含日期时间的文件名", func(r *rand.Rand, _ int) string { return day(r).Format("IMG_20060102_150405000.jpg") }},
	{"dates with time, pairs joined by '-'", "以“-”连接的日期时间", func(r *rand.Rand, _ int) string { return day(r).Format("06-01-02-15-04-05") }},
	{"EAN-13 codes", "EAN-13 商品条码", func(r *rand.Rand, _ int) string { return "69" + digitString(r, 11) }},
	{"prices", "价格", func(r *rand.Rand, _ int) string { return fmt.Sprintf("%.2f", r.Float64()*100_000) }},
	{"fractions, 15 to 17 places", "小数，15 至 17 位", func(r *rand.Rand, _ int) string { return fmt.Sprintf("%.*f", 15+r.IntN(3), r.Float64()*3) }},
	{"vectors of fractions", "小数向量", func(r *rand.Rand, _ int) string {
		return fmt.Sprintf("[%.4f,%.4f,%.4f,%.4f]", r.Float64(), r.Float64(), r.Float64(), r.Float64())
	}},
	{"two measures with three places, a space between", "以空格隔开的两个三位小数", func(r *rand.Rand, _ int) string { return fmt.Sprintf("%.3f %.3f", r.Float64()*1000, r.Float64()*1000) }},
	{"versions, three parts", "版本号，三段", func(r *rand.Rand, _ int) string {
		return fmt.Sprintf("%d.%d.%d", r.IntN(13), r.IntN(30), r.IntN(100))
	}},
	{"versions, four parts below 10", "版本号，四段均小于 10", func(r *rand.Rand, _ int) string {
		return fmt.Sprintf("%d.%d.%d.%d", r.IntN(10), r.IntN(10), r.IntN(10), r.IntN(10))
	}},
	{"versions, four parts, the last up to 5,000", "版本号，四段，末段至 5000", func(r *rand.Rand, _ int) string {
		return fmt.Sprintf("%d.%d.%d.%d", r.IntN(13), r.IntN(10), r.IntN(60), r.IntN(5000))
	}},
	{"products with versions of four parts", "带四段版本号的产品标记", func(r *rand.Rand, _ int) string {
		return fmt.Sprintf("Mozilla/5.0 Chrome/%d.0.%d.%d Mobile", 40+r.IntN(100), r.IntN(7000), r.IntN(250))
	}},
	{"UUIDs", "UUID", func(r *rand.Rand, _ int) string { return uuidString(r) }},
	{"hexadecimal ids, 12 digits", "十六进制编号，12 位", func(r *rand.Rand, _ int) string { return hexString(r, 12) }},
	{"hexadecimal ids, 14 digits", "十六进制编号，14 位", func(r *rand.Rand, _ int) string { return hexString(r, 14) }},
	{"hexadecimal ids, 15 digits", "十六进制编号，15 位", func(r *rand.Rand, _ int) string { return hexString(r, 15) }},
	{"hexadecimal ids, 16 digits", "十六进制编号，16 位", func(r *rand.Rand, _ int) string { return hexString(r, 16) }},
	{"hexadecimal ids, 24 digits", "十六进制编号，24 位", func(r *rand.Rand, _ int) string { return hexString(r, 24) }},
	{"MD5 digests", "MD5 摘要", func(r *rand.Rand, _ int) string { return hexString(r, 32) }},
	{"SHA-1 digests", "SHA-1 摘要", func(r *rand.Rand, _ int) string { return hexString(r, 40) }},
	{"SHA-256 digests", "SHA-256 摘要", func(r *rand.Rand, _ int) string { return hexString(r, 64) }},
	{"base64 of 32 bytes", "32 字节的 base64", func(r *rand.Rand, _ int) string {
		b, _ := hex.DecodeString(hexString(r, 64))
		return base64.StdEncoding.EncodeToString(b)
	}},
}

// rates returns the share of a population's values in which a kind that is
// looked for everywhere is found, in percent.
func rates(p population) (share [kinds]float64) {
	r := rand.New(rand.NewPCG(20260112, 18))
	var dst []Match
	for i := range samples {
		var found Set
		dst = Append(dst[:0], []byte(p.make(r, i)), usual)
		for _, m := range dst {
			found |= m.Kinds
		}
		for k := range share {
			if found.Has(Kind(k)) {
				share[k] += 100.0 / samples
			}
		}
	}
	return share
}

func TestFalseAlarms(t *testing.T) {
	var en, zh strings.Builder
	en.WriteString("| values | false alarms |\n| --- | --- |\n")
	zh.WriteString("| 值 | 误报 |\n| --- | --- |\n")
	for _, p := range populations {
		var parts []string
		for k, share := range rates(p) {
			if share >= 0.005 {
				parts = append(parts, fmt.Sprintf("%s %.2f %%", Kind(k), share))
			} else if share > 0 {
				parts = append(parts, fmt.Sprintf("%s < 0.01 %%", Kind(k)))
			}
		}
		if parts == nil {
			parts = []string{"–"}
		}
		fmt.Fprintf(&en, "| %s | %s |\n", p.en, strings.Join(parts, ", "))
		fmt.Fprintf(&zh, "| %s | %s |\n", p.zh, strings.Join(parts, "，"))
	}
	for _, d := range [][2]string{{"detectors.md", en.String()}, {"detectors.zh.md", zh.String()}} {
		name, table := d[0], d[1]
		t.Logf("%s:\n%s", name, table)
		doc, err := os.ReadFile("../../docs/" + name)
		if err != nil {
			t.Error(err)
		}
		if !strings.Contains(string(doc), table) {
			t.Errorf("docs/%s does not hold the table that go test -v prints above", name)
		}
	}
}
