use crate::checkpoint::state::tensor::*;

fn storage(count: usize) -> Bytes {
    let values = (0..count).map(|i| i as f32);
    values
        .flat_map(f32::to_le_bytes)
        .collect::<Vec<u8>>()
        .into()
}

fn view(shape: &[usize], strides: &[usize], offset: usize) -> Result<StoredTensor, String> {
    StoredTensor::view(
        Dtype::F32,
        shape.to_vec(),
        strides.to_vec(),
        &storage(12),
        offset,
    )
}

#[test]
fn views_are_read_in_row_major_order() {
    let plain = view(&[2, 3], &[3, 1], 4).unwrap();
    assert_eq!(plain.to_f32(), [4., 5., 6., 7., 8., 9.]);
    assert!(matches!(plain.bytes(), Cow::Borrowed(_)));
    let transposed = view(&[2, 3], &[1, 4], 1).unwrap();
    assert_eq!(transposed.to_f32(), [1., 5., 9., 2., 6., 10.]);
    let data = transposed.to_tensor_data(false);
    assert_eq!(data.try_to_vec::<f32>().unwrap(), transposed.to_f32());
    assert!(
        view(&[1, 0, 5], &[9, 9, 9], 12)
            .unwrap()
            .to_f32()
            .is_empty()
    );
    assert_eq!(view(&[], &[], 11).unwrap().to_f32(), [11.0]);
    assert_eq!(view(&[1, 2], &[77, 1], 10).unwrap().to_f32(), [10., 11.]);
}

#[test]
fn parts_that_are_repeated_are_read_as_often_as_they_are() {
    let expanded = view(&[3, 2], &[0, 1], 4).unwrap();
    assert_eq!(expanded.to_f32(), [4., 5., 4., 5., 4., 5.]);
    assert_eq!(expanded.to_dtype(Dtype::F16).to_f32(), expanded.to_f32());
    let overlapping = view(&[11, 2], &[1, 1], 0).unwrap();
    assert_eq!(overlapping.to_f32()[..4], [0., 1., 1., 2.]);
    assert_eq!(view(&[100], &[0], 7).unwrap().to_f32(), [7.0; 100]);
}

#[test]
fn views_beyond_their_storage_are_refused() {
    let huge = usize::MAX;
    for (shape, strides, offset) in [
        (vec![13], vec![1], 0),
        (vec![2], vec![1], 11),
        (vec![2], vec![1], huge),
        (vec![2, 2], vec![11, 1], 0),
        (vec![huge, 2], vec![1, 1], 0),
        (vec![2], vec![huge], 0),
        (vec![MAX_REPEATED, 2], vec![0, 0], 0),
        (vec![2], vec![], 0),
    ] {
        assert!(view(&shape, &strides, offset).is_err(), "{shape:?}");
    }
}

#[test]
fn pieces_are_the_whole() {
    let long: Vec<f32> = (0..PIECE + 3).map(|i| i as f32).collect();
    let long = StoredTensor::from_f32(vec![1, long.len()], &long).unwrap();
    let transposed = view(&[2, 3], &[1, 4], 1).unwrap();
    for (tensor, count) in [(long, 2), (transposed, 1)] {
        let pieces: Vec<StoredTensor> = tensor.pieces().collect();
        assert_eq!(pieces.len(), count);
        let values: Vec<f32> = pieces.iter().flat_map(StoredTensor::to_f32).collect();
        assert_eq!(values, tensor.to_f32());
    }
}

#[test]
fn an_unaligned_tensor_is_copied_and_an_aligned_one_is_not() {
    let values: Vec<f32> = (0..6).map(|i| i as f32).collect();
    let mut bytes = vec![0; 4];
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    let bytes = Bytes::from(bytes);
    for start in [4, 3, 2, 1] {
        let mut moved = vec![0; start];
        moved.extend_from_slice(&bytes[4..]);
        let moved = Bytes::from(moved).slice(start..);
        let aligned = (moved.as_ptr() as usize).is_multiple_of(4);
        let tensor = StoredTensor::new(Dtype::F32, vec![2, 3], moved.clone()).unwrap();
        let data = tensor.to_tensor_data(false);
        assert_eq!(data.as_bytes().as_ptr() == moved.as_ptr(), aligned);
        assert_eq!(data.try_to_vec::<f32>().unwrap(), values);
    }
}

#[test]
fn numbers_are_rounded_to_the_nearest() {
    let values = [1.0, -0.0, 1.0 + f32::powi(2.0, -11), 70000.0, 1e-9];
    let tensor = StoredTensor::from_f32(vec![5, 1], &values).unwrap();
    let half = tensor.to_dtype(Dtype::F16);
    assert_eq!(half.to_f32(), [1.0, 0.0, 1.0, f32::INFINITY, 0.0]);
    assert_eq!((tensor.count_beyond(&half), half.size_bytes()), (1, 10));
    let brain = tensor.to_dtype(Dtype::Bf16);
    assert_eq!(brain.to_f32()[3], 70144.0);
    assert_eq!(tensor.to_dtype(Dtype::F64).to_dtype(Dtype::F32), tensor);
    let data = half.to_tensor_data(true);
    assert_eq!(data.dtype(), DType::F16);
    assert_eq!(
        half.to_tensor_data(false).try_to_vec::<f32>().unwrap(),
        half.to_f32()
    );
}

#[test]
fn what_no_network_holds_is_counted() {
    let values = [1.0, f32::NAN, f32::NEG_INFINITY, -1.0];
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16, Dtype::F64] {
        let tensor = StoredTensor::from_f32(vec![4], &values).unwrap();
        let tensor = tensor.to_dtype(dtype);
        assert_eq!(
            (tensor.count_wrong(false), tensor.count_wrong(true)),
            (2, 3)
        );
    }
}

#[test]
fn a_tensor_has_the_bytes_of_its_shape() {
    for shape in [vec![2], vec![usize::MAX, 4], vec![]] {
        assert!(StoredTensor::new(Dtype::F32, shape, vec![0; 9]).is_err());
    }
}
