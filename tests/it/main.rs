mod readme;
mod tidy;
