package archive

// writeViews writes SQL for people who ask the archive.
func (f *folder) writeViews(format Format) error {
	file, err := f.create(viewsName)
	if err != nil {
		return err
	}
	if _, err := file.WriteString(viewsOf(format)); err != nil {
		_ = file.Close()
		return unwritable(err)
	}
	return f.publish(file, viewsName)
}

func viewsOf(format Format) string { return "" }
