package deid

import (
	"testing"

	"github.com/consentgate/consentgate/internal/payload"
)

func TestMask(t *testing.T) {
	checkAll(t, "mask", payload.String, []example{
		{"by default nothing is kept", "13812345678", "***********"},
		{"a character is no byte", "张三丰", "***"},
		{"an empty text stays empty", "", ""},
		{"what is not UTF-8 does not fit", "a\xffb", unfit},
	})
	checkAll(t, "{mask: {first: 3, last: 4}}", payload.String, []example{
		{"the ends that the policy asks for are kept", "13812345678", "138****5678"},
		{"ends are counted in characters", "广东省广州市天河区体育西路", "广东省******体育西路"},
		{"one character more than the ends is masked", "abcdefgh", "abc*efgh"},
		{"a text no longer than its ends is masked whole", "abcdefg", "*******"},
		{"a text shorter than its ends is masked whole", "张三", "**"},
	})
	checkAll(t, "{mask: {last: 2}}", payload.String, []example{
		{"one end alone can be kept", "zhang@example.cn", "**************cn"},
	})
}

func TestMaskedNumbersBecomeText(t *testing.T) {
	out, now := apply(t, make1(t, "{mask: {first: 2}}"), "-13.5e2", payload.Number)
	if out != "-1*****" || now != payload.String {
		t.Errorf("got %q of kind %d", out, now)
	}
}
