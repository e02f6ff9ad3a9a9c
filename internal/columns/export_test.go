package columns

import "io"

// Tokens gives the rows of a staged file, by field their JSON tokens.
func Tokens(at io.ReaderAt, size int64, path []string) (rows []map[string]string, err error) {
	c, err := openCursor(Input{File: at, Size: size}, 0, path)
	if err != nil {
		return nil, err
	}
	defer c.close()
	for {
		ok, err := c.advance()
		if !ok || err != nil {
			return rows, err
		}
		row := map[string]string{}
		if c.rest >= 0 && !c.value(c.rest).IsNull() {
			row["_rest of the row"] = string(c.value(c.rest).ByteArray())
		}
		for i, s := range c.meta.Fields {
			if v := c.cell(&c.fields[i]); v.form != formNone {
				row[s.Name] = string(v.token(nil))
			}
		}
		rows = append(rows, row)
	}
}
