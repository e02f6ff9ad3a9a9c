package vendorapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"time"
)

// lmv1 is LogicMonitor's Authorization header: the request's method, the instant
// in milliseconds, the body and the resource's path, without base path and query,
// signed with the access key. The signature is the base64 of lower-case hex.
//
// https://www.logicmonitor.com/support/rest-api-authentication
func lmv1(id, key, method, path string, body []byte, at time.Time) string {
	ms := strconv.FormatInt(at.UnixMilli(), 10)
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(method + ms))
	m.Write(body)
	m.Write([]byte(path))
	signature := base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString(m.Sum(nil))))
	return "LMv1 " + id + ":" + signature + ":" + ms
}
