package attack

// A category is a kind of personal data as clients name it.
type category struct {
	name    string
	keys    []string
	headers []string
	kind    kind // what its values look like; token for free ones
	granted bool // whether the backend may have it of one who granted everything
}

// categories are those that keys can name. Their keys are a few of many: those
// that real traffic uses, one of each way of naming.
var categories = []category{
	{"account.id", []string{"user_id", "userId", "uid", "distinct_id", "#distinct_id", "anonymousId", "buyeruid", "open_id", "用户ID", "member_no"}, []string{"X-User-Name", "X-OpenID", "X-Distinct-ID", "X-UID"}, token, true},
	{"account.nickname", []string{"nickname", "display_name", "昵称", "userNick"}, []string{"X-Nickname"}, token, true},
	{"account.avatar", []string{"avatar", "avatarUrl", "head_img", "portrait", "头像"}, []string{"X-Avatar"}, token, true},
	{"account.gender", []string{"gender", "sex", "性别"}, []string{"X-Gender"}, token, true},
	{"account.birthday", []string{"birthday", "dob", "yob", "birth_year", "生日"}, []string{"X-Birthday"}, token, true},
	{"account.region", []string{"user_region", "hometown", "user_city", "籍贯"}, []string{"X-User-Region"}, token, true},
	{"identity.name", []string{"real_name", "realName", "full_name", "first_name", "姓名", "收货人"}, []string{"X-Real-Name"}, token, false},
	{"identity.id_card", []string{"id_card", "idCardNo", "passport", "身份证号", "sfzh"}, []string{"X-ID-Card"}, idCard, false},
	{"identity.biometric", []string{"face_data", "voiceprint", "人脸"}, []string{"X-Face-Token"}, token, false},
	{"contact.phone", []string{"phone", "phoneNumber", "mobile", "tel", "手机号", "phone_md5", "user_mobile"}, []string{"X-Phone", "X-MSISDN"}, phone, true},
	{"contact.email", []string{"email", "mail", "user_email", "邮箱", "email_sha256"}, []string{"X-Email"}, email, false},
	{"contact.im", []string{"wxid", "qq_number", "微信号"}, []string{"X-WXID"}, token, false},
	{"contact.address", []string{"address", "home_address", "收货地址", "detailAddress"}, []string{"X-Address"}, token, false},
	{"contact.book", []string{"contacts", "address_book", "通讯录", "call_log"}, []string{"X-Contacts-Hash"}, token, true},
	{"payment.account", []string{"bank_account", "alipay_account", "account_no", "银行账号"}, nil, token, false},
	{"payment.card", []string{"bank_card", "bankCardNo", "card_no", "银行卡号"}, nil, card, false},
	{"credential", []string{"password", "passwd", "access_token", "密码"}, nil, token, true},
	{"device.id.imei", []string{"imei", "device_imei", "imei1", "imei_md5", "IMEI", "didmd5", "imei2"}, []string{"X-IMEI"}, imei, true},
	{"device.id.meid", []string{"meid", "meid1"}, []string{"X-MEID"}, meid, true},
	{"device.id.idfa", []string{"idfa", "ifa", "ios_ifa", "advertising_identifier"}, []string{"X-IDFA"}, guid, true},
	{"device.id.idfv", []string{"idfv", "ios_idfv"}, []string{"X-IDFV"}, guid, true},
	{"device.id.oaid", []string{"oaid", "OAID", "oaid_md5", "msa_oaid"}, []string{"X-OAID"}, hex32, true},
	{"device.id.vaid", []string{"vaid"}, []string{"X-VAID"}, hex32, true},
	{"device.id.aaid", []string{"aaid"}, []string{"X-AAID"}, guid, true},
	{"device.id.gaid", []string{"gaid", "adid", "advertisingId", "google_aid"}, []string{"X-GAID"}, guid, true},
	{"device.id.caid", []string{"caid", "boot_mark", "update_mark"}, []string{"X-CAID"}, hex32, true},
	{"device.id.android_id", []string{"android_id", "androidId", "ANDROID_ID", "dpidsha1", "$anonymization_id"}, []string{"X-Android-ID"}, hex16, true},
	{"device.id.mac", []string{"mac", "mac_address", "wifiMac", "macmd5", "MAC地址"}, []string{"X-MAC"}, mac, true},
	{"device.id.bluetooth_mac", []string{"bluetooth_mac", "bt_mac", "ble_mac"}, []string{"X-Bluetooth-MAC"}, token, false},
	{"device.id.serial", []string{"device_serial", "hw_serial", "deviceSn"}, []string{"X-Device-Serial"}, token, true},
	{"device.id.uuid", []string{"device_id", "$device_id", "deviceId", "udid", "push_token", "did"}, []string{"X-Device-ID", "X-UDID"}, token, true},
	{"sim.iccid", []string{"iccid", "sim_serial_number"}, []string{"X-ICCID"}, iccid, false},
	{"sim.imsi", []string{"imsi", "subscriber_id"}, []string{"X-IMSI"}, imsi, false},
	{"sim.operator", []string{"carrier", "mccmnc", "sim_operator", "运营商"}, []string{"X-Carrier"}, token, false},
	{"sim.number", []string{"line1_number", "sim_number", "本机号码"}, []string{"X-SIM-Number"}, token, false},
	{"device.model", []string{"model", "device_model", "brand", "manufacturer", "机型"}, []string{"X-Device-Model"}, token, true},
	{"device.os", []string{"os", "osv", "os_version", "系统版本"}, []string{"X-OS-Version"}, token, true},
	{"device.user_agent", []string{"ua", "user_agent", "sua"}, []string{"User-Agent", "X-UA"}, token, true},
	{"device.cpu", []string{"cpu", "cpu_abi", "gpu"}, []string{"X-CPU"}, token, false},
	{"device.memory", []string{"memory", "total_ram", "内存"}, []string{"X-Memory"}, token, false},
	{"device.screen", []string{"screen_width", "ppi", "分辨率"}, []string{"X-Screen-Size"}, token, false},
	{"device.apps", []string{"installed_apps", "app_list", "应用列表"}, []string{"X-Installed-Apps"}, token, false},
	{"device.config", []string{"device_name", "battery_level", "is_root", "font_list"}, []string{"X-Device-Name"}, token, false},
	{"app.id", []string{"app_id", "bundle_id", "package_name", "包名"}, []string{"X-App-ID"}, token, true},
	{"app.version", []string{"app_version", "version_code"}, []string{"X-App-Version"}, token, true},
	{"network.ip", []string{"ip", "$ip", "clientIp", "remote_addr", "ipv6", "IP地址"}, []string{"X-Real-IP", "X-Client-IP", "X-Forwarded-For", "CF-Connecting-IP"}, ipv4, true},
	{"network.type", []string{"network_type", "connectiontype", "网络类型"}, []string{"X-Network-Type"}, token, true},
	{"network.wifi", []string{"ssid", "bssid", "wifi_list", "ap_mac"}, []string{"X-SSID"}, token, false},
	{"network.cell", []string{"cell_id", "lac", "base_station", "基站"}, []string{"X-Cell-ID"}, token, false},
	{"location.precise", []string{"lat", "lon", "latitude", "$longitude", "geo", "gps_lat", "loc", "经度"}, []string{"X-Geo", "X-Lat"}, degree, true},
	{"location.detail", []string{"zip", "street", "altitude", "poi_name", "门牌号"}, []string{"CF-Postal-Code"}, token, true},
	{"location.coarse", []string{"city", "province", "adcode", "城市"}, []string{"X-City"}, token, true},
	{"location.media", []string{"photo_lat", "GPSInfo", "geotag", "拍摄地点"}, []string{"X-Photo-Location"}, token, true},
	{"location.weather", []string{"weather", "天气"}, []string{"X-Weather"}, token, true},
	{"content.text", []string{"post_text", "message_content", "chatText", "正文"}, []string{"X-Message-Text"}, token, true},
	{"content.image", []string{"photo_url", "picture", "照片"}, []string{"X-Photo-URL"}, token, true},
	{"content.video", []string{"video_url", "视频"}, []string{"X-Video-URL"}, token, true},
	{"content.voice", []string{"voice_url", "录音"}, []string{"X-Voice-URL"}, token, true},
	{"behaviour.browsing", []string{"page_url", "referrer", "search_keyword", "浏览记录"}, []string{"Referer"}, token, true},
	{"behaviour.log", []string{"operation_log", "click_log", "操作日志"}, []string{"X-Behaviour-Log"}, token, true},
	{"service.fault", []string{"crash_log", "stack_trace", "崩溃日志"}, []string{"X-Crash-Info"}, token, true},
	{"service.performance", []string{"fps", "launch_time"}, []string{"X-Performance"}, token, false},
	{"profile.interest", []string{"interests", "user_tags", "兴趣"}, []string{"X-Interest-Tags"}, token, false},
}

// detected are the kinds that a value betrays by itself, and the category that
// it then is of.
var detected = []struct {
	kind    kind
	granted bool
}{
	{imei, true}, {meid, true}, {iccid, false}, {imsi, false}, {mac, true}, {phone, true},
	{idCard, false}, {card, false}, {email, false}, {ipv4, true}, {ipv6, true}, {latlng, true},
}

// items are what can be planted: a category by its key, and then a kind by its
// looks.
var items = len(categories) + len(detected)

// isLook reports whether an item is a kind that only its looks betray.
func isLook(item int) bool { return item >= len(categories) }

// itemName names an item in reports.
func itemName(item int) string {
	if isLook(item) {
		return "looks:" + detected[item-len(categories)].kind.String()
	}
	return categories[item].name
}
