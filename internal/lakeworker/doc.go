// Package lakeworker is what the lake's function does with the messages of its
// queue: it converts landed objects as S3 tells of them, and publishes closed
// runs as close asks for it.
//
// A message is a token, and may come twice or late: both works are idempotent,
// and what is to be published stands in the vendor's table until it is (see
// awsfleet.Publication). How a message ends:
//
//	done                                      it is deleted
//	no repeat can mend it (a damaged object)  its reason goes to the dead letters, and it is deleted
//	a publication that there is no time for   close sends another, since the row says so; it is deleted
//	anything else (a store's trouble)         it alone shows again, later each time; SQS gives it up after twenty
package lakeworker
