//! Any bytes given as an image: `cargo +nightly fuzz run image fuzz/corpus/image crates/piggyback/src/image/testdata`.
#![no_main]

use piggyback::image::Image;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match Image::decode(bytes, "picture") {
        Ok(image) => {
            let pixels = image.width() as usize * image.height() as usize;
            assert!(pixels > 0);
            assert_eq!(image.pixels().len(), 3 * pixels);
        }
        Err(error) => {
            let told = error.to_string();
            assert!(told.starts_with("picture: "), "{told}");
        }
    }
});
