//! A command put together as a line for the shell.

use std::path::{Path, PathBuf};

use bilevel::data::mapped::MappedRows;

use crate::args::{DataArgs, Dtype, EncodingArgs, Missing, Storage, YesNo};

/// The words of a command that is being put together.
pub struct Words(Vec<String>);

impl Words {
    /// `bilevel NAME FILE`.
    pub fn new(name: &str, file: &Path) -> Self {
        Words(vec!["bilevel".into(), name.into(), quote_path(file)])
    }

    /// An option, where it has a value.
    pub fn option(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.0.push(format!("--{name}"));
            self.0.push(quote(&value));
        }
    }

    /// An option whose value is a path.
    pub fn path(&mut self, name: &str, path: Option<&PathBuf>) {
        self.option(name, path.map(|path| path.to_string_lossy().into_owned()));
    }

    /// The flags that are set.
    pub fn flags(&mut self, flags: &[(&str, bool)]) {
        self.0.extend(flags.iter().filter(|(_, set)| *set).map(|(name, _)| format!("--{name}")));
    }

    /// How the rows of `file` are read and become numbers; `target` is the column that was found. A converted file says
    /// so itself and takes no word of it.
    pub fn rows(&mut self, file: &Path, data: &DataArgs, encoding: &EncodingArgs, target: Option<&str>) {
        if MappedRows::recognises(file) {
            return;
        }
        self.data(data, target);
        self.encoding(encoding);
    }

    /// How a file is to be understood.
    fn data(&mut self, data: &DataArgs, target: Option<&str>) {
        let target = data.target.clone().or(target.map(str::to_string));
        self.option("target", target.filter(|_| data.labels.is_none()));
        data.exclude.iter().for_each(|column| self.option("exclude", Some(column.clone())));
        self.path("labels", data.labels.as_ref());
        self.option("header", data.header.map(|h| if h == YesNo::Yes { "yes" } else { "no" }.into()));
        self.option("delimiter", data.delimiter.map(|byte| char::from(byte).to_string().replace('\t', "tab")));
    }

    /// How rows become numbers.
    fn encoding(&mut self, encoding: &EncodingArgs) {
        for classes in &encoding.classes {
            self.option("classes", Some(classes.clone()));
        }
        self.option("positive-class", encoding.positive_class.clone());
        self.option("missing", Some(if encoding.missing == Missing::Impute { "impute" } else { "error" }.into()));
        let storage = match encoding.storage {
            Storage::Auto => "auto",
            Storage::Dense => "dense",
            Storage::Sparse => "sparse",
        };
        self.option("storage", Some(storage.into()));
        self.option("dtype", Some(if encoding.dtype == Dtype::F64 { "f64" } else { "f32" }.into()));
    }

    /// The line.
    pub fn text(self) -> String {
        self.0.join(" ")
    }
}

fn quote_path(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

/// `word` such that a shell reads it as one word.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,+=@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
